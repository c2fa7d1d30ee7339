package wechat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

const canary = "CANARY-7f3a9c5e1b"

func TestSecretShowsNothing(t *testing.T) {
	t.Parallel()
	type holder struct {
		hidden  Secret // unexported: fmt cannot call its methods
		Exposed Secret
		Pointer *Secret
		List    []Secret
		Map     map[string]Secret
		Any     any
	}
	s := NewSecret(canary)
	shapes := []any{
		s, &s, holder{s, s, &s, []Secret{s}, map[string]Secret{"k": s}, s}, &holder{hidden: s},
		fmt.Errorf("wrapped: %v", s), struct{ s Secret }{s}, [1]Secret{s},
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p",
		"%c", "%10.3s", "%T"} {
		for _, shape := range shapes {
			require.NotContains(t, fmt.Sprintf(verb, shape), canary, "%s of %T", verb, shape)
			require.NotContains(t, fmt.Sprintf(verb, shape), fmt.Sprintf("%x", canary),
				"%s of %T", verb, shape)
		}
	}
	for _, shape := range shapes {
		data, err := json.Marshal(shape)
		require.NoError(t, err)
		require.NotContains(t, string(data), canary)

		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "shape", shape)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "shape", shape)
		require.NotContains(t, out.String(), canary)
	}
}

func TestSecretSaysWhetherItIsSet(t *testing.T) {
	t.Parallel()
	require.Equal(t, "[redacted]", NewSecret("x").String())
	require.Equal(t, "[redacted]", fmt.Sprintf("%#v", NewSecret("x")))
	require.Equal(t, "[empty]", fmt.Sprint(Secret{}))
	data, err := json.Marshal(map[Secretive]Secret{"s": NewSecret("x")})
	require.NoError(t, err)
	require.JSONEq(t, `{"s":"[redacted]"}`, string(data))
	text, err := NewSecret("x").MarshalText()
	require.NoError(t, err)
	require.Equal(t, "[redacted]", string(text))
}

// Secretive is a map key, so that a marshalled map of secrets is tried too.
type Secretive string

func TestSecretEqualComparesTheText(t *testing.T) {
	t.Parallel()
	require.True(t, NewSecret("a").Equal(NewSecret("a")))
	require.False(t, NewSecret("a").Equal(NewSecret("b")))
	require.False(t, NewSecret("a").Equal(Secret{}))
	require.True(t, Secret{}.Equal(NewSecret("")))
	require.True(t, NewSecret("").Empty())
	require.Empty(t, Secret{}.Reveal())
	require.Equal(t, "a", NewSecret("a").Reveal())
}
