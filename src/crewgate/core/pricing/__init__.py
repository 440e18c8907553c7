"""What a call costs: tariffs, and the quantities that requests and answers state."""
