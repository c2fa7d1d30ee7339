package sandbox

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestForcedRefreshes(t *testing.T) {
	t.Parallel()
	limited := Settings{Tokens: TokenSettings{ForcedADay: 20}}
	t.Run("twenty a day", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: limited})
		b.atNoon()
		for i := range 20 {
			tokenIn(t, b.stableToken(app, "any", true))
			b.Advance(30 * time.Second)
			require.Equal(t, i+1, b.Stats().TokensForced)
		}
		require.Equal(t, 45009, b.stableToken(app, "any", true).code)
		tokenIn(t, b.stableToken(app, "any", false))
		tokenIn(t, b.stableToken("wx2", "any", true))
		b.Advance(12 * time.Hour)
		tokenIn(t, b.stableToken(app, "any", true))
	})
	t.Run("within 30 seconds the same token again, which is not counted", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: limited})
		first, _ := tokenIn(t, b.stableToken(app, "any", true))
		for range 30 {
			again, _ := tokenIn(t, b.stableToken(app, "any", true))
			require.Equal(t, first, again)
		}
		require.Zero(t, b.sendWith(first))
		require.Equal(t, 1, b.Stats().TokensForced)
		b.Advance(30 * time.Second)
		second, _ := tokenIn(t, b.stableToken(app, "any", true))
		require.NotEqual(t, first, second)
		require.Equal(t, 40001, b.sendWith(first))
	})
	t.Run("within 30 seconds a new token nevertheless when the old one is dead",
		func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Settings: limited})
			first, _ := tokenIn(t, b.stableToken(app, "any", true))
			b.ExpireTokens()
			second, _ := tokenIn(t, b.stableToken(app, "any", true))
			require.NotEqual(t, first, second)
			require.Zero(t, b.sendWith(second))
		})
	t.Run("a reset forgets how many there were", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: Settings{Tokens: TokenSettings{ForcedADay: 1}}})
		tokenIn(t, b.stableToken(app, "any", true))
		b.Advance(30 * time.Second)
		require.Equal(t, 45009, b.stableToken(app, "any", true).code)
		b.Reset()
		tokenIn(t, b.stableToken(app, "any", true))
	})
}

func TestTheIPList(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		addresses []string
		code      int
	}{
		{nil, 0},
		{[]string{"127.0.0.1"}, 0},
		{[]string{"10.0.0.0/8", "127.0.0.0/8"}, 0},
		{[]string{"10.0.0.0/8"}, 40164},
		{[]string{"::1"}, 40164},
	} {
		t.Run(fmt.Sprint(tc.addresses), func(t *testing.T) {
			t.Parallel()
			b := start(t,
				Options{Settings: Settings{Tokens: TokenSettings{Addresses: tc.addresses}}})
			for _, r := range []reply{b.stableToken(app, "any", false), b.legacyToken(app, "any")} {
				require.Equal(t, tc.code, r.code)
				if tc.code != 0 {
					require.Regexp(t,
						`^invalid ip 127\.0\.0\.1 ipv6 ::ffff:127\.0\.0\.1, not in whitelist rid: `,
						r.msg)
				}
			}
			require.Zero(t, b.sendWith(b.token), "a token once given works from everywhere")
		})
	}
}

func TestTokenFamiliesOverHTTP(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	stable, _ := tokenIn(t, b.stableToken(app, "any", false))
	legacy, _ := tokenIn(t, b.legacyToken(app, "any"))
	newer, _ := tokenIn(t, b.legacyToken(app, "any"))
	tokenIn(t, b.stableToken(app, "any", true))
	require.Equal(t, 40001, b.sendWith(stable), "retired at once by the forced one")
	require.Zero(t, b.sendWith(legacy), "retired, with five minutes left")
	b.Advance(5 * time.Minute)
	require.Equal(t, 40001, b.sendWith(legacy))
	require.Zero(t, b.sendWith(newer))

	near, _ := tokenIn(t, b.stableToken("wx2", "any", false))
	b.Advance(2*time.Hour - 2*time.Minute)
	next, left := tokenIn(t, b.stableToken("wx2", "any", false))
	require.NotEqual(t, near, next, "rotated in the last five minutes")
	require.GreaterOrEqual(t, left, 300)
	require.Zero(t, b.sendWith(near))
	require.Zero(t, b.sendWith(next))
	b.Advance(2 * time.Minute)
	require.Equal(t, 42001, b.sendWith(near))
}
