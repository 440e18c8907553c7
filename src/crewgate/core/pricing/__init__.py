"""What a call costs: tariffs, and the quantities that requests and responses state.

The bound of a call is reserved before it begins. `meter` counts what its response costs.
"""
