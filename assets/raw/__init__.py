"""What each source said, as extracted: the raw tables, and the extraction that fills them."""
