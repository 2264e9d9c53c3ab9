"""placeholder"""
def export_nautilus(*a): raise NotImplementedError
