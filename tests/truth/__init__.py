"""Every published count against the sandbox's truth, computed a second time by other means."""
