package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// FuzzParseEnvelope reads headers as lines of "Name: value".
func FuzzParseEnvelope(f *testing.F) {
	f.Add("Nats-Msg-Id: 1\nKefu-Expires-At: 2026-11-24T08:15:00.5+08:00\n"+
		"Kefu-Unknown: park\nKefu-Source: shop\n"+
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false)
	f.Add("Kefu-Id: 1\nkefu-generation: 2\nKefu-Attempt: 3\n"+
		"Kefu-Published-At: 2026-11-24T00:15:00Z\nKefu-Tried: "+triedOnce+"\nKefu-Hop: 1\n"+
		"X-Kefu-Before: dead recipient\nX-Kefu-Before-Errcode: 45015\nX-Kefu-Job: k3jq7xa2", true)
	f.Add("Kefu-Send-At: 9999-12-31T23:59:59-23:59", false)
	f.Add("Kefu-Send-At: 1970-01-01T00:00:00+00:01", false)
	f.Add("Kefu-Id: 1\nKefu-Generation: 1\nKefu-Attempt: 1\nKefu-Tried: null", true)
	f.Add("KEFU-SEND-AT: x\nkefu-Send-At: y", false)
	f.Fuzz(func(t *testing.T, lines string, again bool) {
		h := map[string][]string{}
		for line := range strings.Lines(lines) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			h[name] = append(h[name], value)
		}
		e, err := wire.ParseEnvelope(h, again)
		if err != nil {
			var field *schema.FieldError
			require.True(t, errors.As(err, &field))
			require.NotEmpty(t, field.Field)
			return
		}
		require.GreaterOrEqual(t, e.Generation, 1)
		require.GreaterOrEqual(t, e.Attempt, 1)
		if e.ID == "" {
			require.False(t, again)
			e.ID = "default"
		}
		back, err := wire.ParseEnvelope(e.Header(), true)
		require.NoError(t, err)
		// Not the values themselves: a time read from JSON knows its zone by pointer.
		require.Equal(t, e.Header(), back.Header())
		if !again {
			require.NoError(t, e.Check())
		}
	})
}
