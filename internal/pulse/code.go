package pulse

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
)

// codeVersion is the first byte of what is written down. The rest is compressed (RFC 1951) and
// consists of unsigned varints: the newest minute, how many apps, and of each its appid, the
// minutes in which something happened and the blocks. A histogram is the buckets that are not
// empty, each by its distance to the one before.
const codeVersion = 1

// longest is what is read of a key, uncompressed.
const longest = 16 << 20

// encode writes what was counted in the last so many minutes of some apps, up to a minute.
func encode(apps map[string]*hour, newest int64, minutes int) []byte {
	var w writer
	w.number(newest)
	w.number(int64(len(apps)))
	for _, appID := range slices.Sorted(maps.Keys(apps)) {
		w.number(int64(len(appID)))
		w.out = append(w.out, appID...)
		w.hour(apps[appID], newest, minutes)
	}
	return squeezed(w.out)
}

func squeezed(plain []byte) []byte {
	out := bytes.NewBuffer([]byte{codeVersion})
	// Neither fails: the level exists, and a buffer takes everything.
	w, _ := flate.NewWriter(out, flate.BestSpeed)
	_, _ = w.Write(plain)
	_ = w.Close()
	return out.Bytes()
}

type writer struct{ out []byte }

func (w *writer) number(n int64) { w.out = binary.AppendUvarint(w.out, uint64(n)) }

func (w *writer) hour(h *hour, newest int64, minutes int) {
	oldest := newest - int64(minutes) + 1
	var chosen []*minute
	for i := range h.minutes {
		if m := &h.minutes[i]; m.number >= oldest && m.number <= newest {
			chosen = append(chosen, m)
		}
	}
	w.number(int64(len(chosen)))
	for _, m := range chosen {
		w.number(newest - m.number)
		for _, n := range []uint32{m.sent, m.dead, m.cancelled, m.calls, uint32(m.p99)} {
			w.number(int64(n))
		}
	}
	var lasting []*block
	for _, b := range h.blocks {
		if b != nil && b.number >= oldest/blockMinutes && b.number <= newest/blockMinutes {
			lasting = append(lasting, b)
		}
	}
	w.number(int64(len(lasting)))
	for _, b := range lasting {
		w.number(newest/blockMinutes - b.number)
		for _, h := range []*histogram{&b.live, &b.bulk, &b.call} {
			w.histogram(h)
		}
	}
}

func (w *writer) histogram(h *histogram) {
	used := 0
	for _, n := range h {
		if n > 0 {
			used++
		}
	}
	w.number(int64(used))
	before := 0
	for i, n := range h {
		if n > 0 {
			w.number(int64(i - before))
			w.number(int64(n))
			before = i
		}
	}
}

var errCode = errors.New("no pulse of this version")

// decode calls take for each app that encode has written.
func decode(data []byte, take func(appID string, h *hour)) error {
	if len(data) == 0 || data[0] != codeVersion {
		return errCode
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data[1:])), longest))
	if err != nil {
		return errCode
	}
	r := reader{data: plain}
	newest := r.number()
	for range r.number() {
		appID := r.text()
		h := r.hour(newest)
		if r.failed {
			return errCode
		}
		take(appID, h)
	}
	if r.failed || len(r.data) > 0 {
		return errCode
	}
	return nil
}

// reader reads until it has failed; after that everything is 0.
type reader struct {
	data   []byte
	failed bool
}

func (r *reader) number() int64 {
	n, size := binary.Uvarint(r.data)
	if size <= 0 || n > 1<<62 {
		r.failed, r.data = true, nil
		return 0
	}
	r.data = r.data[size:]
	return int64(n)
}

func (r *reader) text() string {
	n := r.number()
	if n > int64(len(r.data)) {
		r.failed, r.data = true, nil
		return ""
	}
	s := string(r.data[:n])
	r.data = r.data[n:]
	return s
}

// few is a number that must not exceed most.
func (r *reader) few(most int) int {
	n := r.number()
	if n > int64(most) {
		r.failed, r.data = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) hour(newest int64) *hour {
	h := &hour{}
	for range r.few(Minutes) {
		number := newest - r.number()
		m := minute{number: number}
		for _, p := range []*uint32{&m.sent, &m.dead, &m.cancelled, &m.calls} {
			*p = uint32(r.number())
		}
		m.p99 = uint8(r.few(buckets))
		if number >= 0 {
			h.minutes[number%Minutes] = m
		}
	}
	for range r.few(blocks) {
		b := &block{number: newest/blockMinutes - r.number()}
		for _, g := range []*histogram{&b.live, &b.bulk, &b.call} {
			r.histogram(g)
		}
		if b.number >= 0 {
			h.blocks[b.number%blocks] = b
		}
	}
	return h
}

func (r *reader) histogram(h *histogram) {
	at := 0
	for range r.few(buckets) {
		at += r.few(buckets - 1)
		n := r.number()
		if at >= buckets {
			r.failed = true
			return
		}
		h[at] = uint32(n)
	}
}
