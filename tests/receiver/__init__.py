"""The receiver of messages in the national portal's format, over real HTTP, with real files and real ends."""
