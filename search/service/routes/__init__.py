"""The routes, one module for each kind of thing; each has an `APIRouter` called `router`."""
