package cli

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestALogThatNobodyReadsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	read, write := io.Pipe()
	sink := newLogSink(write)
	const more = 100
	for i := range logRoom + more { // one of them is in the pipe
		_, err := fmt.Fprintf(sink, "line %d\n", i)
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, sink.dropped.Load(), int64(more-1))

	var got bytes.Buffer
	reading := make(chan error, 1)
	go func() { _, err := got.ReadFrom(read); reading <- err }()
	sink.Close()
	require.NoError(t, write.Close())
	require.NoError(t, <-reading)
	require.Contains(t, got.String(), "line 0\nline 1\nline 2\n",
		"what found room is all there, in order")
	require.Contains(t, got.String(), fmt.Sprintf(`"dropped":%d`, sink.dropped.Load()))
}

func TestALogIsWrittenToItsEnd(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	sink := newLogSink(&got)
	_, _ = sink.Write([]byte("one\n"))
	sink.Close()
	_, err := sink.Write([]byte("after the end\n"))
	require.NoError(t, err)
	require.Equal(t, "one\nafter the end\n", got.String())
	require.Zero(t, sink.dropped.Load())
}

func TestWhatComesAfterTheEndOfALogThatNobodyReadsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe()
		sink := newLogSink(write)
		_, _ = sink.Write([]byte("one\n"))
		sink.Close() // "one" is still on its way
		_, err := sink.Write([]byte("kefu: why it failed\n"))
		require.NoError(t, err)
		require.EqualValues(t, 1, sink.dropped.Load())
		require.NoError(t, read.Close())
	})
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe()
		sink := newLogSink(write)
		sink.Close()
		_, err := sink.Write([]byte("kefu: the reader has gone since\n"))
		require.NoError(t, err)
		_, err = sink.Write([]byte("kefu: and stays away\n"))
		require.NoError(t, err)
		require.EqualValues(t, 2, sink.dropped.Load())
		require.NoError(t, read.Close())
	})
}
