"""What every room needs: errors, files, programs, progress, tables. It imports no other room."""
