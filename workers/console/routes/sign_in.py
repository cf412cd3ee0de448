"""Signing in to the console and out of it, and the sessions of a user."""

from fastapi import APIRouter

router = APIRouter()
