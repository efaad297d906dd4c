"""Users and their API keys; guide 002 adds `full_name`, and merges two branches."""

from sqlalchemy import Column, DateTime, ForeignKey, String, Uuid
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id = Column(Uuid, primary_key=True)
    first_name = Column(String(100))
    last_name = Column(String(100))
    email = Column(String(255), unique=True, index=True, nullable=False)
    full_name = Column(String(201))


class ApiKey(Base):
    __tablename__ = "api_keys"

    id = Column(Uuid, primary_key=True)
    user_id = Column(Uuid, ForeignKey("users.id"), nullable=False)
    key = Column(String(64), nullable=False)
    expires_at = Column(DateTime)
