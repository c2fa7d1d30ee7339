package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/config"
)

func TestConfigCheckNamesTheFileAndCounts(t *testing.T) {
	t.Parallel()
	fine := kefu(t, try{args: args("config check"), file: twoApps, environ: []string{"S=x"}})
	require.Equal(t, result{exitDone, "kefu.yaml: ok, 2 apps, no warnings\n", ""}, fine)

	empty := kefu(t, try{args: args("config check")})
	require.Equal(t, result{exitDone, "no file, defaults only: ok, no apps, 1 warning\n",
		"warning: apps: no app is configured: add one with its appid and secret_file\n"}, empty)

	bad := kefu(t, try{args: args("config check"), file: "worker: {grace: x}"})
	require.Equal(t, exitUsage, bad.code)
	require.Empty(t, bad.out)
	require.Contains(t, bad.err, `kefu: kefu.yaml:1: worker.grace: "x" is not a duration such as 30s, 10m or 48h`)
}

func TestConfigCheckAsJSON(t *testing.T) {
	t.Parallel()
	bad := kefu(t, try{args: args("config check -o json"), file: "worker: {grace: x}", environ: []string{"KEFU_HOME=1"}})
	require.Equal(t, exitUsage, bad.code)
	require.Contains(t, bad.err, "kefu: the configuration has 1 problem\n")
	require.JSONEq(t, `{
		"ok": false, "apps": 0,
		"problems": [{"file": "kefu.yaml", "line": 1, "key": "worker.grace", "text": "\"x\" is not a duration such as 30s, 10m or 48h"}],
		"warnings": [{"file": "KEFU_HOME", "text": "is not a setting of kefu and has no effect"}]
	}`, bad.out)

	fine := kefu(t, try{args: args("config check -o ndjson"), file: twoApps, environ: []string{"S=x"}})
	require.Equal(t, exitDone, fine.code)
	require.JSONEq(t, `{"ok": true, "file": "kefu.yaml", "apps": 2, "problems": [], "warnings": []}`, strings.Replace(fine.out, "/", "", 1))
	require.Equal(t, 1, strings.Count(fine.out, "\n"))
}

func TestConfigPrintShowsWhatIsInEffect(t *testing.T) {
	t.Parallel()
	c := try{file: twoApps, environ: []string{"S=x", "KEFU_WORKER_GRACE=7s"}}

	c.args = args("config print --origins --set defaults.live_shards=9")
	got := kefu(t, c)
	require.Equal(t, exitDone, got.code)
	require.Contains(t, got.out, "  grace: 7s # KEFU_WORKER_GRACE\n")
	require.Contains(t, got.out, "  live_shards: 9 # flag\n")
	require.Contains(t, got.out, "name: 旗舰店 # kefu.yaml:2\n")

	c.args = args("config print --app wx1")
	got = kefu(t, c)
	require.True(t, strings.HasPrefix(got.out, "appid: wx1\nname: 旗舰店\nkind: official\nsecret_env: S\ntoken: stable\n"), got.out)

	c.args = args("config print -o json")
	var tree struct {
		Worker struct{ Grace string }
		Apps   []struct{ AppID string }
	}
	require.NoError(t, json.Unmarshal([]byte(kefu(t, c).out), &tree))
	require.Equal(t, "7s", tree.Worker.Grace)
	require.Len(t, tree.Apps, 2)

	c.args = args("config print -o ndjson --app wx1")
	var app map[string]any
	require.NoError(t, json.Unmarshal([]byte(kefu(t, c).out), &app))
	require.InDelta(t, 4, app["live_shards"], 0)
}

func TestConfigReferenceHasEveryKey(t *testing.T) {
	t.Parallel()
	var keys []config.Key
	require.NoError(t, json.Unmarshal([]byte(kefu(t, try{args: args("config reference -o json")}).out), &keys))
	require.Len(t, keys, len(config.Keys()))
	require.Equal(t, "KEFU_NATS_URL", keys[0].Env)

	table := kefu(t, try{args: args("config reference")}).out
	require.Contains(t, table, "defaults.rate.per_second")
	require.NotContains(t, table, "apps[].rate.per_second", "people need not read these twice")

	rate := kefu(t, try{args: args("config reference rate.burst")})
	require.Equal(t, ""+
		"KEY                  DEFAULT  ALLOWED         MEANING\n"+
		"defaults.rate.burst  20       1..10000 calls  Calls that may follow each other at once after a pause.\n"+
		"apps[].rate.burst             1..10000 calls  For this app, instead of defaults.rate.burst.\n", rate.out)

	require.Equal(t, result{exitNothing, "", "kefu: no key's name holds \"nothing\"\n"}, kefu(t, try{args: args("config reference nothing")}))
}

func TestTheExampleFileIsAConfiguration(t *testing.T) {
	t.Parallel()
	example := kefu(t, try{args: args("config reference --example")})
	require.Equal(t, exitDone, example.code)
	got := kefu(t, try{args: args("config check --quiet"), file: example.out})
	require.Equal(t, result{exitDone, "kefu.yaml: ok, 1 app, 1 warning\n", ""}, got)
}

func TestTheExampleInDeployIsTheReference(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("../../deploy/kefu.yaml")
	require.NoError(t, err)
	got := kefu(t, try{args: args("config reference --example")})
	require.Equal(t, string(want), got.out, "write it anew: kefu config reference --example > deploy/kefu.yaml")
}
