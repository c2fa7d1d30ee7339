package wechat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFileToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	synctest.Test(t, func(t *testing.T) {
		f := NewFileToken(path)
		require.False(t, f.State().Valid)
		_, err := f.Token(t.Context())
		requireConfig(t, err, "no such file")

		write("token-1\n")
		_, err = f.Token(t.Context())
		requireConfig(t, err, "no such file") // looked at within this second
		require.NoError(t, f.Probe(t.Context()))
		requireToken(t, f, "token-1")
		require.True(t, f.State().Valid)

		write("token-number-2")
		requireToken(t, f, "token-1")
		advance(time.Second)
		requireToken(t, f, "token-number-2")

		// Replaced by rename, as Kubernetes and careful writers do it.
		next := path + ".next"
		require.NoError(t, os.WriteFile(next,
			[]byte(`{"access_token":"token-number-3","expires_in":7200}`), 0o600))
		require.NoError(t, os.Rename(next, path))
		advance(time.Second)
		requireToken(t, f, "token-number-3")

		// Written by an editor on Windows, with a byte order mark.
		for text, want := range map[string]string{
			"\ufefftoken-number-4\r\n":                        "token-number-4",
			"\ufeff{\"access_token\":\"token-number-3\"}\r\n": "token-number-3",
		} {
			write(text)
			advance(time.Second)
			requireToken(t, f, want)
		}
		write("token-number-3")
		advance(time.Second)
		requireToken(t, f, "token-number-3")

		// Away, unreadable or half written: what was read before serves on.
		for _, text := range []string{"", "{", "two words", strings.Repeat("x", maxToken+1),
			`{"token":"x"}`} {
			write(text)
			advance(time.Second)
			requireToken(t, f, "token-number-3")
			requireConfig(t, f.State().Err, "token file")
			require.True(t, f.State().Valid)
		}
		require.NoError(t, os.Remove(path))
		advance(time.Second)
		requireToken(t, f, "token-number-3")
		requireConfig(t, f.State().Err, "no such file")
	})
}

func TestAStaleFileTokenIsForItsWriterToReplace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	synctest.Test(t, func(t *testing.T) {
		f := NewFileToken(path)
		f.Stale(NewSecret("before there is one"))
		write("token-1")
		requireToken(t, f, "token-1")
		f.Stale(NewSecret("token-0"))
		requireToken(t, f, "token-1")

		// A good token is refused at times: it gets a second chance, and those who come late with
		// the first refusal do not take it away.
		first := handedOut(t, f)
		advance(time.Millisecond)
		f.Stale(first)
		second := handedOut(t, f)
		require.True(t, first.Equal(second))
		f.Stale(first)
		f.Stale(NewSecret("token-1"))
		advance(2 * time.Second) // looked at again meanwhile
		requireToken(t, f, "token-1")
		require.True(t, f.State().Valid)

		f.Stale(second)
		_, err := f.Token(t.Context())
		requireConfig(t, err, "is stale")
		require.False(t, f.State().Valid)
		requireConfig(t, f.State().Err, "is stale")
		requireConfig(t, f.Probe(t.Context()), "is stale")

		// It is not condemned for ever by two refusals.
		advance(time.Minute)
		f.Stale(handedOut(t, f))
		f.Stale(handedOut(t, f))
		_, err = f.Token(t.Context())
		requireConfig(t, err, "is stale")

		// The writer's next token counts at the next look, even when its file looks like the old
		// one.
		info, err := os.Stat(path)
		require.NoError(t, err)
		write("token-2")
		require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		advance(time.Second)
		requireToken(t, f, "token-2")

		// A token replaced just before it was refused is seen at once.
		second = handedOut(t, f)
		write("token-3")
		f.Stale(second)
		requireToken(t, f, "token-3")
	})
}

func handedOut(t *testing.T, s TokenSource) Secret {
	t.Helper()
	token, err := s.Token(t.Context())
	require.NoError(t, err)
	return token
}

func requireConfig(t *testing.T, err error, text string) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, FaultConfig, e.Fault)
	require.Equal(t, CallToken, e.Call)
	require.ErrorContains(t, err, text)
}
