"""Publication: what leaves the house for BI tools, analysts and auditors.

Belongs here: writing, verifying and switching publications, and the data dictionary that describes
them. Does not belong here: computing anything that is published.
"""
