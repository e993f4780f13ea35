"""What must hold, and that it is caught when it does not."""
