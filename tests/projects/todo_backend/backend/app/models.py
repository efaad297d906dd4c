"""Conversations and their messages, as they are after migration 004 of guide 003."""

from sqlalchemy import CheckConstraint, Column, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class Task(Base):
    __tablename__ = "tasks"

    id = Column(Integer, primary_key=True)
    title = Column(String(200), nullable=False)
    priority = Column(String(10), nullable=False, server_default="medium")


class Message(Base):
    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint(
            "role IN ('user', 'assistant', 'system', 'tool')", name="check_role_values"
        ),
    )

    id = Column(Integer, primary_key=True)
    conversation_id = Column(Integer, nullable=False)
    role = Column(String(20), nullable=False)
    content = Column(Text)
    tool_call_id = Column(String(100))
    name = Column(String(100))
