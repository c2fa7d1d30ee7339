package replay

import (
	"encoding/json"
	"testing"
)

func TestAStatusHasEveryFieldBeforeAWorkerHasBegun(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.bury(letter("a"))
	s, err := Read(t.Context(), b.conn, b.submit(Request{}))
	b.NoError(err)
	body, err := json.Marshal(s)
	b.NoError(err)
	var fields map[string]any
	b.NoError(json.Unmarshal(body, &fields))
	for _, name := range []string{"job", "kind", "state", "app", "chosen", "published", "sent",
		"dead", "left", "rate", "by", "started_at", "finished_at"} {
		b.Contains(fields, name)
	}
	b.Equal([]any{"planned", nil, nil, 1.0},
		[]any{fields["state"], fields["started_at"], fields["finished_at"], fields["chosen"]})
	var read Status
	b.NoError(json.Unmarshal(body, &read))
	b.Equal(s, read)
}
