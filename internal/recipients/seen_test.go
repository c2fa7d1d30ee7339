package recipients

import (
	"crypto/sha256"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachRecipientIsKnownOnceItWasMet(t *testing.T) {
	t.Parallel()
	var s seen
	const n = 20_000
	key := func(i int) recipientKey { return keyOf(strconv.Itoa(i)) }
	for i := range n {
		require.False(t, s.add(key(i)))
		require.True(t, s.add(key(i/2)))
	}
	room := 0
	for _, h := range s.shards {
		room += len(h.slots)
	}
	require.Less(t, room, n*3/2)
	sum := sha256.Sum256([]byte("7"))
	require.Equal(t, sum[:15], s.shards[sum[0]].slots[s.shards[sum[0]].find(key(7))][:15])
}
