package campaign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// chunkRow is one row of a chunk: whom to send what.
type chunkRow struct {
	Line   int    // of the file, where the row begins
	OpenID string // "" when the person was taken out
	Packet []byte
}

// A chunk is closed when it has chunkRows rows or chunkBytes bytes. A broker takes messages of 1 MiB
// unless it is told otherwise, and a packet may have 64 KiB.
const (
	chunkRows  = 1000
	chunkBytes = 512 << 10
)

// chunkVersion is the first byte of a chunk.
const chunkVersion = 1

// chunkWriter puts rows into a chunk. The zero value is not ready: see newChunkWriter. It is not
// safe for concurrent use.
type chunkWriter struct {
	encoder *zstd.Encoder
	rows    int
	line    int // of the last row
	raw     []byte
}

// newChunkWriter makes one that compresses in the goroutine that calls it.
func newChunkWriter() (*chunkWriter, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(chunkBytes))
	return &chunkWriter{encoder: encoder}, err
}

// add appends a row and says whether the chunk is full.
func (w *chunkWriter) add(row chunkRow) (full bool) {
	w.raw = binary.AppendUvarint(w.raw, uint64(row.Line-w.line))
	w.raw = binary.AppendUvarint(w.raw, uint64(len(row.OpenID)))
	w.raw = append(w.raw, row.OpenID...)
	w.raw = binary.AppendUvarint(w.raw, uint64(len(row.Packet)))
	w.raw = append(w.raw, row.Packet...)
	w.line = row.Line
	w.rows++
	return w.rows >= chunkRows || len(w.raw) >= chunkBytes
}

// end returns the chunk as it is stored, and begins the next one.
func (w *chunkWriter) end() []byte {
	out := binary.AppendUvarint([]byte{chunkVersion}, uint64(w.rows))
	out = w.encoder.EncodeAll(w.raw, out)
	w.rows, w.line, w.raw = 0, 0, w.raw[:0]
	return out
}

var errNoChunk = errors.New("what is stored is no chunk of this version of kefu")

// maxChunk bounds what a damaged chunk may unpack to.
const maxChunk = 4 << 20

// readChunk returns the rows of a chunk.
func readChunk(stored []byte) ([]chunkRow, error) {
	raw, count, err := unpackChunk(stored)
	if err != nil {
		return nil, err
	}
	r := chunkReader{rest: raw}
	rows := make([]chunkRow, 0, count)
	for len(r.rest) > 0 {
		rows = append(rows, r.row())
	}
	if r.broken || len(rows) != count {
		return nil, errNoChunk
	}
	return rows, nil
}

// unpacker unpacks chunks; it is safe for concurrent use.
var unpacker = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxChunk))
})

// unpackChunk returns the rows of a chunk as bytes, and how many there should be.
func unpackChunk(stored []byte) (raw []byte, count int, err error) {
	if len(stored) < 2 || stored[0] != chunkVersion {
		return nil, 0, errNoChunk
	}
	rows, n := binary.Uvarint(stored[1:])
	if n <= 0 || rows > chunkRows {
		return nil, 0, errNoChunk
	}
	decoder, err := unpacker()
	if err != nil {
		return nil, 0, err
	}
	raw, err = decoder.DecodeAll(stored[1+n:], nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errNoChunk, err)
	}
	return raw, int(rows), nil
}

// chunkReader reads the rows of a chunk that is unpacked.
type chunkReader struct {
	rest   []byte
	line   int
	broken bool
}

func (r *chunkReader) row() chunkRow {
	r.line += r.number()
	row := chunkRow{Line: r.line}
	row.OpenID = string(r.bytes())
	row.Packet = r.bytes()
	return row
}

func (r *chunkReader) number() int {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > maxChunk*1024 {
		r.broken, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

func (r *chunkReader) bytes() []byte {
	n := r.number()
	if n > len(r.rest) {
		r.broken, r.rest = true, nil
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

// cursor is a place among the rows of a campaign, as a job keeps it: chunks count from 1, rows from
// 0, so what lies behind is greater.
type cursor struct {
	chunk int
	row   int
}

const cursorRowBits = 24

func (c cursor) number() uint64 { return uint64(c.chunk)<<cursorRowBits | uint64(c.row) }

// before says whether a place lies before another.
func (c cursor) before(other cursor) bool { return c.number() < other.number() }

// cursorAt reads what number wrote; the zero number is the first row.
func cursorAt(number uint64) cursor {
	c := cursor{int(number >> cursorRowBits), int(number & (1<<cursorRowBits - 1))}
	if c.chunk == 0 {
		c.chunk = 1
	}
	return c
}
