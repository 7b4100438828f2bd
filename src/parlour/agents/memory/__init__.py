"""What of a session's past a model is shown: a window, summaries of what is before it, and knowledge."""

from parlour.agents.memory.condensation import Condensed, Forgetting, condense, to_forget
from parlour.agents.memory.conversation import ConversationMemory
from parlour.agents.memory.knowledge import (
    Knowledge,
    KnowledgeFile,
    load_knowledge,
    words_of_people,
)

__all__ = [
    "Condensed",
    "ConversationMemory",
    "Forgetting",
    "Knowledge",
    "KnowledgeFile",
    "condense",
    "load_knowledge",
    "to_forget",
    "words_of_people",
]
