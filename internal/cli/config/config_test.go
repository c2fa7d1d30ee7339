package config_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/config"
)

func TestConfigCheckNamesTheFileAndCounts(t *testing.T) {
	t.Parallel()
	fine := clitest.Run(t,
		clitest.Try{Args: clitest.Args("config check"), File: clitest.TwoApps,
			Environ: []string{"S=x"}})
	require.Equal(t, clitest.Ended(cli.ExitDone, "kefu.yaml: ok, 2 apps, no warnings\n", ""), fine)

	empty := clitest.Run(t, clitest.Try{Args: clitest.Args("config check")})
	require.Equal(t, clitest.Ended(cli.ExitDone, "no file, defaults only: ok, no apps, 1 warning\n",
		"warning: apps: no app is configured: add one with its appid and secret_file\n"), empty)

	bad := clitest.Run(t,
		clitest.Try{Args: clitest.Args("config check"), File: "worker: {grace: x}"})
	require.Equal(t, cli.ExitUsage, bad.Code)
	require.Empty(t, bad.Out)
	require.Contains(t, bad.Err,
		`kefu: kefu.yaml:1: worker.grace: "x" is not a duration such as 30s, 10m or 48h`)
}

func TestConfigCheckAsJSON(t *testing.T) {
	t.Parallel()
	bad := clitest.Run(t,
		clitest.Try{Args: clitest.Args("config check -o json"), File: "worker: {grace: x}",
			Environ: []string{"KEFU_HOME=1"}})
	require.Equal(t, cli.ExitUsage, bad.Code)
	require.Contains(t, bad.Err, "kefu: the configuration has 1 problem\n")
	require.JSONEq(t, `{
		"ok": false, "apps": 0,
		"problems": [{"file": "kefu.yaml", "line": 1, "key": "worker.grace", "text": "\"x\" is not a duration such as 30s, 10m or 48h"}],
		"warnings": [{"file": "KEFU_HOME", "text": "is not a setting of kefu and has no effect"}]
	}`, bad.Out)

	fine := clitest.Run(t,
		clitest.Try{Args: clitest.Args("config check -o ndjson"), File: clitest.TwoApps,
			Environ: []string{"S=x"}})
	require.Equal(t, cli.ExitDone, fine.Code)
	require.JSONEq(t,
		`{"ok": true, "file": "kefu.yaml", "apps": 2, "problems": [], "warnings": []}`,
		strings.Replace(fine.Out, "/", "", 1))
	require.Equal(t, 1, strings.Count(fine.Out, "\n"))
}

func TestConfigPrintShowsWhatIsInEffect(t *testing.T) {
	t.Parallel()
	c := clitest.Try{File: clitest.TwoApps, Environ: []string{"S=x", "KEFU_WORKER_GRACE=7s"}}

	c.Args = clitest.Args("config print --origins --set defaults.live_shards=9")
	got := clitest.Run(t, c)
	require.Equal(t, cli.ExitDone, got.Code)
	require.Contains(t, got.Out, "  grace: 7s # KEFU_WORKER_GRACE\n")
	require.Contains(t, got.Out, "  live_shards: 9 # flag\n")
	require.Contains(t, got.Out, "name: 旗舰店 # kefu.yaml:2\n")

	c.Args = clitest.Args("config print --app wx1")
	got = clitest.Run(t, c)
	require.True(t, strings.HasPrefix(got.Out,
		"appid: wx1\nname: 旗舰店\nkind: official\nsecret_env: S\ntoken: stable\n"), got.Out)

	c.Args = clitest.Args("config print -o json")
	var tree struct {
		Worker struct{ Grace string }
		Apps   []struct{ AppID string }
	}
	require.NoError(t, json.Unmarshal([]byte(clitest.Run(t, c).Out), &tree))
	require.Equal(t, "7s", tree.Worker.Grace)
	require.Len(t, tree.Apps, 2)

	c.Args = clitest.Args("config print -o ndjson --app wx1")
	var app map[string]any
	require.NoError(t, json.Unmarshal([]byte(clitest.Run(t, c).Out), &app))
	require.InDelta(t, 4, app["live_shards"], 0)
}

func TestConfigReferenceHasEveryKey(t *testing.T) {
	t.Parallel()
	var keys []config.Key
	require.NoError(t, json.Unmarshal([]byte(clitest.Run(t,
		clitest.Try{Args: clitest.Args("config reference -o json")}).Out), &keys))
	require.Len(t, keys, len(config.Keys()))
	require.Equal(t, "KEFU_NATS_URL", keys[0].Env)

	table := clitest.Run(t, clitest.Try{Args: clitest.Args("config reference")}).Out
	require.Contains(t, table, "defaults.rate.per_second")
	require.NotContains(t, table, "apps[].rate.per_second", "people need not read these twice")

	rate := clitest.Run(t, clitest.Try{Args: clitest.Args("config reference rate.burst")})
	require.Equal(t, ""+
		"KEY                  DEFAULT  ALLOWED         MEANING\n"+
		"defaults.rate.burst  20       1..10000 calls  Calls that may follow each other at once after a pause.\n"+
		"apps[].rate.burst             1..10000 calls  For this app, instead of defaults.rate.burst.\n", rate.Out)

	require.Equal(t, clitest.Ended(cli.ExitNothing, "", "kefu: no key's name holds \"nothing\"\n"),
		clitest.Run(t, clitest.Try{Args: clitest.Args("config reference nothing")}))
}

func TestTheExampleFileIsAConfiguration(t *testing.T) {
	t.Parallel()
	example := clitest.Run(t, clitest.Try{Args: clitest.Args("config reference --example")})
	require.Equal(t, cli.ExitDone, example.Code)
	got := clitest.Run(t,
		clitest.Try{Args: clitest.Args("config check --quiet"), File: example.Out})
	require.Equal(t, clitest.Ended(cli.ExitDone, "kefu.yaml: ok, 1 app, 1 warning\n", ""), got)
}

func TestTheExampleInDeployIsTheReference(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../../../deploy/kefu.yaml")
	require.NoError(t, err)
	got := clitest.Run(t, clitest.Try{Args: clitest.Args("config reference --example")})
	require.Equal(t, string(want), got.Out,
		"write it anew: kefu config reference --example > deploy/kefu.yaml")
}
