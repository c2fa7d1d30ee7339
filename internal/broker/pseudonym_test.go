package broker_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
)

func TestAPseudonymNeedsTheKeyOfThePool(t *testing.T) {
	t.Parallel()
	const openid = "oPerson"
	p := broker.NewPseudonyms([]byte("one pool"))
	require.Len(t, p.Of(openid), 8)
	require.Equal(t, p.Of(openid), broker.NewPseudonyms([]byte("one pool")).Of(openid))
	require.NotEqual(t, p.Of(openid), broker.NewPseudonyms([]byte("another pool")).Of(openid))
	require.NotEqual(t, p.Of(openid), p.Of(openid+"2"))
	require.Empty(t, p.Of(""))

	plain := sha256.Sum256([]byte(openid))
	require.NotContains(t, hex.EncodeToString(plain[:]), p.Of(openid))
}
