"""When things run: definitions, jobs, schedules, sensors, partitions, resources, settings, command line.

Nothing else of the product imports this package.
"""
