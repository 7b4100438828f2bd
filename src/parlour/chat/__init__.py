"""What app authors write against: callbacks, messages, steps, questions, the session and its
context.

Authors import the names from `parlour`; these modules are where they live.
"""
