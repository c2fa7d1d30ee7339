package sandbox

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (b *fixture) typing(openID, command string) int {
	b.t.Helper()
	return b.call("/cgi-bin/message/custom/typing",
		fmt.Sprintf(`{"touser":%q,"command":%q}`, openID, command)).code
}

func TestTyping(t *testing.T) {
	t.Parallel()
	t.Run("it lasts 15 seconds, in which it cannot be started again", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		require.Zero(t, b.typing("o1", "Typing"))
		require.Equal(t, 45081, b.typing("o1", "Typing"))
		require.Zero(t, b.typing("o2", "Typing"), "somebody else")
		b.Advance(15 * time.Second)
		require.Zero(t, b.typing("o1", "Typing"))
	})
	t.Run("cancelling ends it, and does nothing when there is nothing to end", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		require.Zero(t, b.typing("o1", "CancelTyping"))
		require.Zero(t, b.typing("o1", "Typing"))
		require.Zero(t, b.typing("o1", "CancelTyping"))
		require.Zero(t, b.typing("o1", "Typing"))
	})
	t.Run("a message to the user ends it, one to somebody else does not", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		require.Zero(t, b.typing("o1", "Typing"))
		require.Zero(t, b.send("o2", "hi").code)
		require.Equal(t, 45081, b.typing("o1", "Typing"))
		require.Zero(t, b.send("o1", "hi").code)
		require.Zero(t, b.typing("o1", "Typing"))
	})
	t.Run("it is recorded with its recipient, and holds up no send to it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.typing("o1", "Typing")
		rec := b.Received()[0]
		require.Equal(t, "typing", rec.Call)
		require.Equal(t, "o1", rec.OpenID)
		require.False(t, rec.Delivered)
		require.Zero(t, b.Stats().OpenIDs)
	})
	t.Run("rules can go by the recipient", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: CallTyping, OpenID: "o1", Errcode: 45080})
		require.Equal(t, 45080, b.typing("o1", "Typing"))
		require.Zero(t, b.typing("o2", "Typing"))
	})
	for name, tc := range map[string]struct {
		body string
		code int
	}{
		"another command is 45072":        {`{"touser":"o1","command":"Shout"}`, 45072},
		"a command in small letters, too": {`{"touser":"o1","command":"typing"}`, 45072},
		"no command, too":                 {`{"touser":"o1"}`, 45072},
		"nobody is 41009":                 {`{"command":"Typing"}`, 41009},
		"an empty openid is 40003":        {`{"touser":"","command":"Typing"}`, 40003},
		"no JSON is 47001":                {`Typing`, 47001},
		"no body is 44002":                {``, 44002},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.code,
				start(t, Options{}).call("/cgi-bin/message/custom/typing", tc.body).code)
		})
	}
}
