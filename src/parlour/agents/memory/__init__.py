"""What of a session's past a model is shown: a window, summaries of what is before it, and knowledge."""

from parlour.agents.memory.condensation import Forgetting, condense, to_forget
from parlour.agents.memory.conversation import ConversationMemory
from parlour.agents.memory.knowledge import Knowledge, KnowledgeFile, load_knowledge

__all__ = [
    "ConversationMemory",
    "Forgetting",
    "Knowledge",
    "KnowledgeFile",
    "condense",
    "load_knowledge",
    "to_forget",
]
