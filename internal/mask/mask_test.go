package mask

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMasks(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"oABCDEFGHIJKLMNOPQRSTUVWXYZ0": "oABC…Z0", "o12345": "***", "": "", "oABCDEF": "oABC…EF",
	} {
		require.Equal(t, want, Mask{}.OpenID(in))
	}
	m := Mask{}
	require.Equal(t, "5 bytes that are no JSON", m.Packet([]byte("{bad}")))
	require.Equal(t, "{\n  \"a\": [\n    \"(1 character)\",\n    true,\n    null,\n    {}\n  ]\n}",
		m.Packet([]byte(`{"a":["x",true,null,{}]}`)))
	require.Equal(t, "ordinary", m.Within("ordinary", "o"))
	require.Equal(t, "kefu.send.wx1.live.***", m.Subject("kefu.send.wx1.live.user1", "user1"))
	require.Equal(t, "kefu.send.wx1.bulk.c1", m.Subject("kefu.send.wx1.bulk.c1", "user1"))
}
