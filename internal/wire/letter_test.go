package wire_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestALetterKeepsEveryByte(t *testing.T) {
	t.Parallel()
	header := map[string][]string{
		"Nats-Msg-Id": {"1"}, "X-GBK": {"\xC4\xE3", "b"}, "X-Two": {"1", "2"}, "\xFF": {"\x00"},
	}
	packets := []string{"", "{}", "a\x00\u2028\uFFFD<&>\r\n", "\xFF\xFE", "\xED\xA0\x80"}
	for _, packet := range packets {
		var l schema.Letter
		wire.SetPacket(&l, []byte("\xFF")) // What was set before must not shine through.
		wire.SetPacket(&l, []byte(packet))
		wire.SetHeader(&l, map[string][]string{"X-Earlier": {"\xFF", "1"}})
		wire.SetHeader(&l, header)
		text, err := json.Marshal(&l)
		require.NoError(t, err)
		var back schema.Letter
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, packet, string(back.Packet()))
		require.Equal(t, header, back.Header())
	}
}

func TestALetterSharesNoMemoryWithItsMessage(t *testing.T) {
	t.Parallel()
	packet, values := []byte("\xFFa"), []string{"1", "2"}
	var l schema.Letter
	wire.SetPacket(&l, packet)
	wire.SetHeader(&l, map[string][]string{"X-Two": values})
	packet[1], values[0] = 'b', "changed"
	require.Equal(t, "\xFFa", string(l.Packet()))
	require.Equal(t, map[string][]string{"X-Two": {"1", "2"}}, l.Header())
}
