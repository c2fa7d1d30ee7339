package ledger

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestMarksThatACommandAppendsCountAsAWorkers(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	var marks []Mark
	for i := range 2*maxBatch + 10 { // more campaigns than a batch can tell apart
		campaign := CampaignOf("wx1", fmt.Sprintf("c%d", i%(2*maxContexts)))
		marks = append(marks, Mark{Key: Key(i + 1), Seq: uint64(i + 1), Kind: Cancelled,
			Generation: 1, Campaign: campaign})
	}
	appender := NewAppender(conn, "forget-1")
	require.NoError(t, appender.Append(t.Context(), marks[:3]))
	require.NoError(t, appender.Append(t.Context(), marks[3:]))
	l, err := Open(t.Context(), conn, Options{Worker: "w1", Keep: brokertest.Keep})
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, len(marks), l.Len())
	for _, m := range marks {
		said := l.Peek(Mark{Key: m.Key, Seq: m.Seq, Attempt: 1})
		require.Equal(t, Ended, said.Ruling)
		require.Equal(t, Cancelled, said.Kind)
	}
}
