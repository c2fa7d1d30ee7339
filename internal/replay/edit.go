package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/kefuhq/kefu/internal/plainjson"
)

// Edit changes packets: operations of a JSON patch (RFC 6902), and "set", which replaces the value
// at a path or adds it where there is none.
type Edit []json.RawMessage

// opSet is the operation that RFC 6902 does not have.
const opSet = "set"

// ParseEdit reads changes as people write them, each either a JSON patch or <path>=<value>: a JSON
// pointer (RFC 6901), and what is to stand there as JSON or, when that is no JSON, as a string. The
// error says what is wrong with which.
func ParseEdit(changes ...string) (Edit, error) {
	var edit Edit
	for _, change := range changes {
		change = strings.TrimSpace(change)
		var ops Edit
		var err error
		switch {
		case strings.HasPrefix(change, "["):
			err = json.Unmarshal([]byte(change), &ops)
		case strings.HasPrefix(change, "/"):
			ops, err = assignment(change)
		default:
			err = errors.New("it begins with neither [ nor /")
		}
		if err != nil {
			return nil, fmt.Errorf("%q is no change of a packet: %w; write /path=value, or a JSON "+
				"patch (RFC 6902)", change, err)
		}
		for _, op := range ops {
			if _, err := decodeOp(op); err != nil {
				return nil, fmt.Errorf("%s is no operation of a JSON patch: %w", op, err)
			}
		}
		edit = append(edit, ops...)
	}
	return edit, nil
}

// assignment reads /path=value.
func assignment(s string) (Edit, error) {
	path, value, ok := strings.Cut(s, "=")
	if !ok {
		return nil, errors.New("it has no =")
	}
	var b bytes.Buffer
	if json.Valid([]byte(value)) {
		b.WriteString(value)
	} else if err := plainjson.NewEncoder(&b).Encode(value); err != nil {
		return nil, err
	}
	op, err := json.Marshal(map[string]any{
		"op": opSet, "path": path, "value": json.RawMessage(b.Bytes()),
	})
	return Edit{op}, err
}

// decodeOp returns the patches that are tried for an operation, one after the other.
func decodeOp(raw json.RawMessage) ([]jsonpatch.Patch, error) {
	var op struct {
		Op    string          `json:"op"`
		Path  *string         `json:"path"`
		Value json.RawMessage `json:"value,omitempty"`
	}
	if err := json.Unmarshal(raw, &op); err != nil {
		return nil, err
	}
	if op.Op != opSet {
		p, err := jsonpatch.DecodePatch(fmt.Appendf(nil, "[%s]", raw))
		return []jsonpatch.Patch{p}, err
	}
	if op.Path == nil || op.Value == nil {
		return nil, errors.New("set needs a path and a value")
	}
	var tries []jsonpatch.Patch
	for _, op.Op = range []string{"replace", "add"} {
		raw, err := json.Marshal([]any{op})
		if err != nil {
			return nil, err
		}
		p, err := jsonpatch.DecodePatch(raw)
		if err != nil {
			return nil, err
		}
		tries = append(tries, p)
	}
	return tries, nil
}

// Apply returns a packet with the changes made; with none it is packet itself. What is not changed
// keeps its order and its numbers.
func (e Edit) Apply(packet []byte) ([]byte, error) {
	o := jsonpatch.NewApplyOptions()
	o.SupportNegativeIndices, o.EscapeHTML = false, false
	for _, op := range e {
		tries, err := decodeOp(op)
		if err != nil {
			return nil, err
		}
		var changed []byte
		for _, p := range tries {
			if changed, err = p.ApplyWithOptions(packet, o); err == nil {
				break
			}
		}
		if err != nil {
			path, _ := tries[0][0].Path()
			switch {
			case errors.Is(err, jsonpatch.ErrTestFailed):
				return nil, fmt.Errorf("%s is not what the change tests for", path)
			case !json.Valid(packet):
				return nil, errors.New("the packet is no JSON")
			}
			return nil, fmt.Errorf("it has no %s to change", path)
		}
		packet = changed
	}
	return packet, nil
}
