// Draws the ring of columns with WebGL2: one texture, one rectangle. heat2d.js does it without.

import { BINS, RING } from './columns.js'
import { between, strength } from './look.js'

/** Colours of rising strength that are made once. */
const SHADES = 256

const VERTEX = `#version 300 es
const vec2 corners[3] = vec2[3](vec2(-1, -1), vec2(3, -1), vec2(-1, 3));
out vec2 place;
void main() {
  gl_Position = vec4(corners[gl_VertexID], 0, 1);
  place = corners[gl_VertexID] * 0.5 + 0.5;
}`

const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D cells;
uniform vec4 window;   // column and bin at the lower left edge, columns and bins between the edges
uniform float row;     // row of the ring that column 0 is in
uniform float known;
uniform float scale;
uniform vec3 ground, beyond;
uniform sampler2D shades; // colours of rising strength: row 0 bids, row 1 asks
in vec2 place;
out vec4 colour;
void main() {
  float column = floor(window.x + place.x * window.z);
  float bin = floor(window.y + place.y * window.w);
  if (column < 0.0 || column >= known) { colour = vec4(ground, 1); return; }
  if (bin < 0.0 || bin >= ${BINS}.0) { colour = vec4(beyond, 1); return; }
  float value = texelFetch(cells, ivec2(int(bin), int(mod(row + column, ${RING}.0))), 0).r;
  if (value > 2.5e38) { colour = vec4(ground, 1); return; }
  if (value > 1.0e38) { colour = vec4(beyond, 1); return; }
  int shade = int(sqrt(min(1.0, abs(value) / scale)) * ${SHADES - 1}.0 + 0.5);
  colour = texelFetch(shades, ivec2(shade, value < 0.0 ? 1 : 0), 0);
}`

/** @implements {Renderer} @typedef {import('./columns.js').Renderer} Renderer */
export class HeatGL {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} restored what to call when the graphics card had forgotten everything
   * @returns {HeatGL | null} null: no WebGL2 here
   */
  static make(canvas, restored) {
    const gl = canvas.getContext('webgl2', { alpha: false, antialias: false, depth: false })
    if (!gl) return null
    try {
      return new HeatGL(canvas, gl, restored)
    } catch {
      return null
    }
  }

  /** @param {HTMLCanvasElement} canvas @param {WebGL2RenderingContext} gl @param {() => void} restored */
  constructor(canvas, gl, restored) {
    this.name = 'WebGL2'
    this.canvas = canvas
    this.gl = gl
    this.lost = false
    const info = gl.getExtension('WEBGL_debug_renderer_info')
    /** Whether a graphics card draws, as far as the browser says. */
    this.hardware = !info || !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL)))
    /** @type {import('./look.js').Palette | null} */
    this.colours = null
    this._start()
    canvas.addEventListener('webglcontextlost', event => {
      event.preventDefault()
      this.lost = true
    })
    canvas.addEventListener('webglcontextrestored', () => {
      this.lost = false
      this._start()
      if (this.colours) this.palette(this.colours)
      restored()
    })
  }

  _start() {
    const { gl } = this
    const program = gl.createProgram()
    for (const [kind, text] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(kind))
      gl.shaderSource(shader, text)
      gl.compileShader(shader)
      gl.attachShader(program, shader)
    }
    gl.linkProgram(program)
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? 'no shader')
    gl.useProgram(program)
    const place = (/** @type {string} */ name) => gl.getUniformLocation(program, name)
    this.uniforms = {
      window: place('window'), row: place('row'), known: place('known'), scale: place('scale'),
      ground: place('ground'), beyond: place('beyond'), shades: place('shades'),
    }
    gl.uniform1i(this.uniforms.shades, 1)
    gl.activeTexture(gl.TEXTURE1)
    this._texture(gl.RGBA8, SHADES, 2)
    gl.activeTexture(gl.TEXTURE0)
    this.texture = this._texture(gl.R32F, BINS, RING)
    gl.bindVertexArray(gl.createVertexArray())
  }

  /** @param {number} format @param {number} width @param {number} height */
  _texture(format, width, height) {
    const { gl } = this
    const texture = gl.createTexture()
    gl.bindTexture(gl.TEXTURE_2D, texture)
    gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height)
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST)
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST)
    return texture
  }

  /** @param {number} row @param {Float32Array} values */
  row(row, values) {
    const { gl } = this
    if (!this.lost) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, BINS, 1, gl.RED, gl.FLOAT, values)
  }

  /** @param {Float32Array} values */
  all(values) {
    const { gl } = this
    if (!this.lost) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, BINS, RING, gl.RED, gl.FLOAT, values)
  }

  /** @param {number} width @param {number} height */
  resize(width, height) {
    if (this.canvas.width === width && this.canvas.height === height) return
    this.canvas.width = width
    this.canvas.height = height
  }

  /** @param {import('./look.js').Palette} palette */
  palette(palette) {
    const { gl, uniforms } = this
    this.colours = palette
    if (!uniforms) return
    gl.uniform3fv(uniforms.ground, palette.heat.ground)
    gl.uniform3fv(uniforms.beyond, palette.heat.beyond)
    const shades = new Uint8Array(SHADES * 8)
    for (const [row, stops] of [palette.heat.bid, palette.heat.ask].entries()) {
      for (let i = 0; i < SHADES; i++) {
        // The shader takes the root of the share, which costs less than a logarithm and leaves the weak ones shades enough.
        const colour = between(stops, strength((i / (SHADES - 1)) ** 2, 1))
        shades.set([...colour.map(one => Math.round(one * 255)), 255], (row * SHADES + i) * 4)
      }
    }
    gl.activeTexture(gl.TEXTURE1)
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, SHADES, 2, gl.RGBA, gl.UNSIGNED_BYTE, shades)
    gl.activeTexture(gl.TEXTURE0)
  }

  /** @param {import('./columns.js').HeatView} view */
  draw(view) {
    const { gl, uniforms } = this
    if (this.lost || !uniforms) return
    gl.viewport(0, 0, this.canvas.width, this.canvas.height)
    gl.uniform4f(uniforms.window, view.column, view.bin, view.columns, view.bins)
    gl.uniform1f(uniforms.row, view.row)
    gl.uniform1f(uniforms.known, view.known)
    gl.uniform1f(uniforms.scale, view.scale || 1)
    gl.drawArrays(gl.TRIANGLES, 0, 3)
  }

  /** @param {number} row @returns {Float32Array | null} */
  read(row) {
    const { gl } = this
    if (!gl.getExtension('EXT_color_buffer_float')) return null
    const frame = gl.createFramebuffer()
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame)
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.texture, 0)
    const out = new Float32Array(BINS * 4)
    gl.readPixels(0, row, BINS, 1, gl.RGBA, gl.FLOAT, out)
    gl.bindFramebuffer(gl.FRAMEBUFFER, null)
    gl.deleteFramebuffer(frame)
    return out.filter((_, i) => i % 4 === 0)
  }
}
