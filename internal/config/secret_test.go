package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASecretIsReadFromItsFileEachTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wx1.secret")
	app := App{AppID: "wx1", SecretFile: path}

	_, err := app.ReadSecret()
	require.ErrorIs(t, err, os.ErrNotExist)

	for _, content := range []string{"first", "second\n", "third\r\n", "\ufefffourth \n"} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		secret, err := app.ReadSecret()
		require.NoError(t, err)
		require.Equal(t, strings.Trim(content, "\ufeff \r\n"), secret)
	}
	require.Equal(t, "file "+path, app.SecretSource())
}

func TestASecretIsReadFromItsVariable(t *testing.T) {
	t.Parallel()
	cfg := loaded(t, given{file: "apps: [{appid: wx1, secret_env: WX1}]",
		environ: []string{"WX1=old", "WX1=s3cret"}})
	secret, err := cfg.Apps[0].ReadSecret()
	require.NoError(t, err)
	require.Equal(t, "s3cret", secret)
	require.Equal(t, "variable WX1", cfg.Apps[0].SecretSource())
}

func TestAnAppMadeByHandReadsTheProcessEnvironment(t *testing.T) {
	t.Setenv("WX1", "s3cret")
	secret, err := App{AppID: "wx1", SecretEnv: "WX1"}.ReadSecret()
	require.NoError(t, err)
	require.Equal(t, "s3cret", secret)
}

func TestErrorsNameThePlaceOfASecretNeverTheSecret(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := func(name, content string) App {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return App{AppID: "wx1", SecretFile: path}
	}
	for name, c := range map[string]struct {
		app  App
		says string
	}{
		"an empty file": {
			file("empty", " \n"),
			"secret of app wx1: " + filepath.Join(folder, "empty") + " is empty",
		},
		"two words":          {file("words", "hunter2 hunter2"), "holds more than one word"},
		"control characters": {file("control", "hunter2\x00"), "holds more than one word"},
		"a large file": {
			file("large", strings.Repeat("hunter2", 1000)), "is larger than 4096 bytes",
		},
		"a folder": {App{AppID: "wx1", SecretFile: folder}, "is a directory"},
		"a variable that is away": {
			App{AppID: "wx1", SecretEnv: "KEFU_TEST_NOT_SET"},
			"variable KEFU_TEST_NOT_SET is empty",
		},
		"no place at all": {App{AppID: "wx1"}, "no secret_file and no secret_env"},
	} {
		_, err := c.app.ReadSecret()
		require.ErrorContains(t, err, c.says, name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
	_, err := App{}.ReadSecret()
	require.ErrorIs(t, err, ErrNoSecret)
	require.Equal(t, "none", App{}.SecretSource())
}

func TestASecretOthersCanReadIsWarnedOf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true,
		0o644: true, 0o604: true} {
		require.NoError(t, os.Chmod(path, mode))
		_, warnings, problems := load(t,
			given{file: "apps: [{appid: wx1, secret_file: '" + path + "'}]"})
		require.Empty(t, problems)
		if !warned || runtime.GOOS == "windows" {
			require.Empty(t, warnings, mode)
			continue
		}
		require.Equal(t, []string{"kefu.yaml:1: apps[0].secret_file: " + path +
			" can be read by others (mode " + mode.String() + "): chmod 600 " + path}, warnings)
	}
}
