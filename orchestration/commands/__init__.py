"""Commands of `thuocdo`, one module each: the glue between what a command asks and the functions that answer."""
