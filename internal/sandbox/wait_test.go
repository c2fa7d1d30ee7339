package sandbox

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWait(t *testing.T) {
	t.Parallel()
	t.Run("sends that came before count", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Keep: -1})
		b.send("oUser1", "1")
		b.send("oUser1", "2")
		require.NoError(t, b.Wait(t.Context(), 2))
	})
	t.Run("it returns with the send that makes the number full, though its answer is held back",
		func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			b.Add(Rule{Hang: true})
			_ = b.dial(b.rawSend("oUser1", "hi"))
			require.NoError(t, b.Wait(t.Context(), 1))
			require.Equal(t, 1, b.Stats().InFlight)
		})
	t.Run("it can wait for somebody", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.send("oUser1", "1")
		done := make(chan error, 1)
		go func() { done <- b.WaitFor(t.Context(), Filter{OpenID: "oUser2", Delivered: true}, 1) }()
		b.send("oUser1", "2")
		b.send("oUser2", "3")
		require.NoError(t, <-done)
	})
	t.Run("the context ends it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, b.Wait(ctx, 1), context.Canceled)
	})
	t.Run("closing ends it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		done := make(chan error, 1)
		go func() { done <- b.Wait(t.Context(), 1) }()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-done, ErrClosed)
	})
}
