"""The pages of the console on people."""

from fastapi import APIRouter

router = APIRouter()
