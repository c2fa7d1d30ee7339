package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryKeyIsDescribedAndReachable(t *testing.T) {
	t.Parallel()
	variables := map[string]string{}
	for _, k := range Keys() {
		require.NotEmpty(t, k.Type, k.Path)
		require.NotEmpty(t, k.Allowed, k.Path)
		require.True(t, strings.HasSuffix(k.Doc, "."), k.Path)
		require.Empty(t, variables[k.Env], "%s and %s have one variable", k.Path, variables[k.Env])
		variables[k.Env] = k.Path
		key, ok := keyOfVariable(k.Env)
		require.True(t, ok, k.Path)
		require.Equal(t, k.Path, pattern(key))
	}
	require.Equal(t, "nats.store_dir", variables["KEFU_NATS_STORE_DIR"])
	require.Equal(t, "defaults.rate.per_second", variables["KEFU_DEFAULTS_RATE_PER_SECOND"])
	require.Equal(t, "apps[].secret_file", variables["KEFU_APPS_0_SECRET_FILE"])
}

func TestEveryDefaultKeepsItsOwnRule(t *testing.T) {
	t.Parallel()
	for _, k := range Keys() {
		if k.Default == "" {
			continue
		}
		flags := map[string]any{strings.Replace(k.Path, "[]", "[0]", 1): k.Default}
		if strings.HasPrefix(k.Path, "apps[]") {
			flags["apps[0].appid"], flags["apps[0].secret_env"] = "wx1", "S"
		}
		_, _, problems := load(t, given{flags: flags})
		require.Empty(t, problems, k.Path)
	}
}
