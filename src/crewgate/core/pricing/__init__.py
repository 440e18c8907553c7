"""The price of a call: tariffs, and the quantities that requests and responses state.

The upper bound of a call is reserved before it begins; `meter` computes what its response costs.
"""
