package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/kefuhq/kefu/internal/textfile"
)

// maxSecret bounds what is read as an AppSecret, which has 32 characters: naming a wrong file gives
// an error, not a gigabyte in memory.
const maxSecret = 4 << 10

// ErrNoSecret is the error of [App.ReadSecret] for an app that names no place for one.
var ErrNoSecret = errors.New("no secret_file and no secret_env")

// ReadSecret returns the app's AppSecret without the white space around it. A file is read each
// time, so that replacing it needs no restart. Errors name the file or variable, never its content.
func (a App) ReadSecret() (string, error) {
	switch {
	case a.SecretFile != "":
		content, err := readSecretFile(a.SecretFile)
		if err != nil {
			return "", fmt.Errorf("secret of app %s: %w", a.AppID, err)
		}
		return a.cleanSecret(string(content), a.SecretFile)
	case a.SecretEnv != "":
		lookup := a.lookup
		if lookup == nil {
			lookup = os.LookupEnv
		}
		value, _ := lookup(a.SecretEnv)
		return a.cleanSecret(value, "variable "+a.SecretEnv)
	default:
		return "", fmt.Errorf("secret of app %s: %w", a.AppID, ErrNoSecret)
	}
}

// SecretSource returns where the secret is, for people: "file /etc/kefu/wx1.secret", "variable
// WX1_SECRET" or "none".
func (a App) SecretSource() string {
	switch {
	case a.SecretFile != "":
		return "file " + a.SecretFile
	case a.SecretEnv != "":
		return "variable " + a.SecretEnv
	default:
		return "none"
	}
}

// leastToken is how long the console's token must be: a shorter one could be guessed.
const leastToken = 16

// ReadToken returns the token that signs in, without the white space around it. The file is read
// each time, so that replacing it needs no restart. Errors name the file, never its content.
func (c Console) ReadToken() (string, error) {
	content, err := readSecretFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("console.token_file: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if len(token) < leastToken {
		return "", fmt.Errorf("console.token_file: %s holds fewer than %d characters, which could "+
			"be guessed: put in the output of openssl rand -hex 32", c.TokenFile, leastToken)
	}
	return token, nil
}

func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSecret {
		return nil, fmt.Errorf("%s is larger than %d bytes, no AppSecret", path, maxSecret)
	}
	return textfile.Trim(content), nil
}

func (a App) cleanSecret(text, place string) (string, error) {
	secret := strings.TrimSpace(text)
	if secret == "" {
		return "", fmt.Errorf("secret of app %s: %s is empty", a.AppID, place)
	}
	if strings.ContainsFunc(secret,
		func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("secret of app %s: %s holds more than one word of "+
			"printable characters", a.AppID, place)
	}
	return secret, nil
}
