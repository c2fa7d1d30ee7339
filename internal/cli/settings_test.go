package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

const twoApps = `apps:
  - {appid: wx1, name: 旗舰店, secret_env: S, limits: {text_bytes: 3}}
  - {appid: wx2, secret_env: S}
`

func TestWhichAppACommandIsAbout(t *testing.T) {
	t.Parallel()
	oneApp := "apps: [{appid: wx1, secret_env: S}]"
	for _, c := range []struct {
		name, file, argument, flag string
		appid, says                string
	}{
		{"the only one", oneApp, "", "", "wx1", ""},
		{"the one in the flag", twoApps, "", "wx2", "wx2", ""},
		{"the one in the argument", twoApps, "wx1", "", "wx1", ""},
		{"the same in both", twoApps, "wx1", "wx1", "wx1", ""},
		{"two different ones", twoApps, "wx1", "wx2", "",
			"two apps are named, wx1 and --app wx2: which one?"},
		{"none of several", twoApps, "", "", "",
			"there are several apps: name one of wx1 (旗舰店), wx2 with --app"},
		{"one that is not there", oneApp, "", "wx9", "", "no app wx9 is configured: there is wx1"},
		{"none at all", "worker: {}", "", "", "", "no app is configured"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "kefu.yaml")
			require.NoError(t, os.WriteFile(path, []byte(c.file), 0o600))
			env := New(Process{
				Environ: []string{"S=x"}, Out: &bytes.Buffer{}, Err: &bytes.Buffer{},
			})
			env.Settings.file, env.Settings.AppID = path, c.flag
			app, err := env.Settings.App(c.argument)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				require.Equal(t, ExitUsage, env.exit(&cobra.Command{Use: "kefu"}, err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.appid, app.AppID)
		})
	}
}
