"""The app behind `parlour demo`, and the small local model that it talks through."""
