"""Why a window was or was not called drifted: recomputed from rows, and shown."""
