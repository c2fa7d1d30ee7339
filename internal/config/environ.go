package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
)

// loadEnviron takes the KEFU_ variables that are keys. The names of keys hold underscores
// themselves, so a variable is looked up among the known ones, never taken apart.
func (l *loader) loadEnviron(environ []string) {
	var unknown []string
	provider := env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			key, ok := keyOfVariable(name)
			switch {
			case !ok:
				unknown = append(unknown, name)
				return "", nil
			case value == "":
				return "", nil
			}
			return key, value
		},
	})
	l.layer(provider, nil, func(key string) origin { return origin{place: envName(key)} })
	l.reportUnknown(unknown)
}

var appVariable = regexp.MustCompile(`^KEFU_APPS_(\d{1,4})_(.+)$`)

// keyOfVariable is the key a variable sets.
func keyOfVariable(name string) (string, bool) {
	if key, ok := known().env[name]; ok {
		return key, true
	}
	m := appVariable.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	for leaf := range known().leaves {
		if rest, isApp := strings.CutPrefix(leaf, "apps[]."); isApp &&
			envName(rest) == envPrefix+m[2] {
			index, _ := strconv.Atoi(m[1]) // up to four digits
			return appsPath + strconv.Itoa(index) + "." + rest, true
		}
	}
	return "", false
}

// kubernetesVariable matches what Kubernetes sets in each container for a service called kefu or
// kefu-something.
var kubernetesVariable = regexp.MustCompile(`^KEFU_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// reportUnknown warns of variables that are no keys, and refuses those that hold a secret's value.
func (l *loader) reportUnknown(names []string) {
	slices.Sort(names)
	var kubernetes []string
	for _, name := range slices.Compact(names) {
		last := strings.ToLower(name[strings.LastIndexByte(name, '_')+1:])
		switch {
		case name == envFile:
		case l.isSecretVariable(name): // an app's secret_env may well be called KEFU_…
		case appVariable.MatchString(name) && isSecretName(last):
			l.problems = append(l.problems,
				Problem{File: name,
					Text: "a secret is not a setting: name the variable it is in with secret_env"})
		case kubernetesVariable.MatchString(name):
			kubernetes = append(kubernetes, name)
		default:
			text := "is not a setting of kefu and has no effect"
			if near := nearestVariable(name); near != "" {
				text += ", did you mean " + near + "?"
			}
			l.warnings = append(l.warnings, Warning{Problem{File: name, Text: text}})
		}
	}
	if len(kubernetes) > 0 {
		what := kubernetes[0]
		if more := len(kubernetes) - 1; more > 0 {
			what = fmt.Sprintf("%s and %d more", what, more)
		}
		l.warnings = append(l.warnings, Warning{Problem{
			File: what,
			Text: "set by Kubernetes for a service of this name, no settings of kefu " +
				"(enableServiceLinks: false leaves them out)",
		}})
	}
}

// isSecretVariable tells whether some app named this variable in secret_env.
func (l *loader) isSecretVariable(name string) bool {
	for _, key := range l.values.Keys() {
		if strings.HasPrefix(key, appsPath) && strings.HasSuffix(key, ".secret_env") &&
			l.values.String(key) == name {
			return true
		}
	}
	return false
}
