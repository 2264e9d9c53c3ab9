## The book over time as a land to fly through: height is depth, the spread is the valley, trades are lights in it.
extends Node3D

const CELLS := Vector2(320, 256)
const CELL := Vector2(0.085, 0.17)
const LIGHTS := 600

var history := KrakpotHistory.new()
var orbit := true
var centre := NAN
var _material := ShaderMaterial.new()
var _camera := Camera3D.new()
var _lights := MultiMeshInstance3D.new()
var _labels: Array[Label3D] = []
var _trades: Array[Array] = []
var _look := Vector2(0, -0.42)
var _time := 0.0

@onready var hud: Hud = $Hud


func _ready() -> void:
	history.feed = Market
	add_child(history)
	_material.shader = preload("res://shaders/landscape.gdshader")
	_material.set_shader_parameter("cell", CELL)
	_material.set_shader_parameter("rows", CELLS)
	_material.set_shader_parameter("columns_a_row", 2.0)
	var mesh := PlaneMesh.new()
	mesh.size = Vector2(1, 1)
	mesh.subdivide_width = int(CELLS.x) - 1
	mesh.subdivide_depth = int(CELLS.y) - 1
	var land := MeshInstance3D.new()
	land.mesh = mesh
	land.material_override = _material
	# The shader moves it: its box must not be that of the mesh.
	land.custom_aabb = AABB(Vector3(-20, -1, -50), Vector3(40, 12, 52))
	add_child(land)
	_camera.fov = 58
	add_child(_camera)
	_make_lights()
	for i in 9:
		var label := Label3D.new()
		label.billboard = BaseMaterial3D.BILLBOARD_ENABLED
		label.font_size = 44
		label.pixel_size = 0.0085
		label.outline_size = 10
		label.outline_modulate = Market.GROUND
		label.modulate = Market.TEXT
		label.no_depth_test = true
		add_child(label)
		_labels.append(label)
	Market.chosen_changed.connect(_choose)
	Market.trades_received.connect(_on_trades)
	_choose()


func _make_lights() -> void:
	var ball := SphereMesh.new()
	ball.radius = 0.5
	ball.height = 1.0
	ball.radial_segments = 12
	ball.rings = 6
	var glow := StandardMaterial3D.new()
	glow.shading_mode = BaseMaterial3D.SHADING_MODE_UNSHADED
	glow.vertex_color_use_as_albedo = true
	ball.material = glow
	var many := MultiMesh.new()
	many.transform_format = MultiMesh.TRANSFORM_3D
	many.use_colors = true
	many.mesh = ball
	many.instance_count = LIGHTS
	many.visible_instance_count = 0
	_lights.multimesh = many
	add_child(_lights)


func _choose() -> void:
	history.symbol = Market.chosen
	_trades.clear()
	centre = NAN


func _on_trades(found: KrakpotTrades) -> void:
	if found.symbol != Market.chosen:
		return
	if found.not_continued:
		_trades.clear()
	for i in found.size():
		_trades.append([found.received_ns[i], found.prices[i], found.qtys[i], found.sides[i]])
	if _trades.size() > LIGHTS:
		_trades = _trades.slice(-LIGHTS)


func _unhandled_input(event: InputEvent) -> void:
	var motion := event as InputEventMouseMotion
	if motion != null and motion.button_mask & MOUSE_BUTTON_MASK_LEFT:
		orbit = false
		_look -= motion.relative * 0.004
		_look.y = clampf(_look.y, -1.4, 1.2)
	var key := event as InputEventKey
	if key != null and key.pressed and key.keycode == KEY_O:
		orbit = not orbit


func head() -> float:
	if history.newest < 0:
		return 0.0
	return clampf(history.column_at(Market.clock.now_ns()), history.newest, history.newest + 30.0)


func _process(delta: float) -> void:
	history.column_seconds = 0.1 * maxf(Market.clock.speed, 0.2)
	if history.newest >= 0:
		if is_nan(centre) or absf(centre - history.mid_bin) > CELLS.x * 0.3:
			centre = history.mid_bin
		centre = lerpf(centre, history.mid_bin, 1.0 - exp(-1.5 * delta))
	history.apply(_material)
	_material.set_shader_parameter("head", head())
	_material.set_shader_parameter("centre", 0.0 if is_nan(centre) else centre)
	_material.set_shader_parameter("grey", 1.0 if Market.stale else 0.0)
	_fly(delta)
	_place_lights()
	_place_labels()


func _fly(delta: float) -> void:
	if orbit:
		_time += delta
		var angle := sin(_time * 0.11 + 2.6) * 0.36
		_camera.position = Vector3(sin(angle) * 13.0, 8.2 + sin(_time * 0.17) * 0.6, 6.0 + cos(angle) * 2.0)
		_camera.look_at(Vector3(0.0, 1.4, -9.0))
		_look = Vector2(_camera.rotation.y, _camera.rotation.x)
		return
	var way := Vector3.ZERO
	for key: Array in [
		[KEY_W, Vector3.FORWARD], [KEY_S, Vector3.BACK], [KEY_A, Vector3.LEFT], [KEY_D, Vector3.RIGHT],
		[KEY_E, Vector3.UP], [KEY_Q, Vector3.DOWN],
	]:
		if Input.is_physical_key_pressed(key[0]):
			way += key[1]
	_camera.rotation = Vector3(_look.y, _look.x, 0.0)
	_camera.position += _camera.basis * way * delta * 8.0


## Where a time and a price are in the land, at its ground.
func at(ns: int, price: float) -> Vector3:
	return Vector3(
		(history.bin_at(price) - centre) * CELL.x, 0.0, (history.column_at(ns) - head()) / 2.0 * CELL.y
	)


func _place_lights() -> void:
	var many := _lights.multimesh
	var n := 0
	if history.newest >= 0:
		for one in _trades:
			var where := at(one[0], one[1])
			if where.z < -40.0:
				continue
			var size := clampf(0.16 + 0.3 * sqrt(one[2] / history.strong), 0.16, 1.1)
			where.y = 0.35 + size * 0.5
			many.set_instance_transform(n, Transform3D(Basis.from_scale(Vector3.ONE * size), where))
			many.set_instance_color(n, Color("d6f1ff") if one[3] == 0 else Color("ffdfae"))
			n += 1
	many.visible_instance_count = n


func _place_labels() -> void:
	var pair: KrakpotPair = Market.pair(Market.chosen)
	for label in _labels:
		label.visible = pair != null and history.newest >= 0
	if pair == null or history.newest < 0:
		return
	var low := history.price_at(centre - CELLS.x * 0.42)
	var high := history.price_at(centre + CELLS.x * 0.42)
	var step := preload("res://scenes/heat.gd").nice((high - low) / 7.0)
	_material.set_shader_parameter("grid_bins", maxf(1.0, history.bin_at(low + step) - history.bin_at(low)))
	var price := ceilf(low / step) * step
	for label in _labels:
		label.visible = price < high
		label.text = pair.price_text(price)
		label.position = Vector3((history.bin_at(price) - centre) * CELL.x, 0.15, 0.75)
		price += step
