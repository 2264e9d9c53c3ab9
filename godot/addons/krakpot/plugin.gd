## The plugin in the editor. Its nodes and resources are classes with names: they need nothing but their scripts.
@tool
extends EditorPlugin
