package config

import (
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Print writes the configuration in effect as YAML that can be loaded again. Of an app it shows
// what the app does not inherit from defaults. Credentials in URLs are hidden; no other secrets are
// in the configuration. With origins, a comment after each value says where it was set.
func (c *Config) Print(w io.Writer, origins bool) error {
	return encode(w, c.tree(origins))
}

// PrintApp writes one app with all of its settings resolved. It returns false when there is no such
// app.
func (c *Config) PrintApp(w io.Writer, appid string, origins bool) (bool, error) {
	for i := range c.Apps {
		if c.Apps[i].AppID == appid {
			return true, encode(w, c.appTree(i, true, origins))
		}
	}
	return false, nil
}

// Tree returns what Print writes as nested maps and lists, for JSON.
func (c *Config) Tree() (any, error) { return decoded(c.tree(false)) }

// AppTree returns what PrintApp writes as nested maps, for JSON; nil when there is no such app.
func (c *Config) AppTree(appid string) (any, error) {
	for i := range c.Apps {
		if c.Apps[i].AppID == appid {
			return decoded(c.appTree(i, true, false))
		}
	}
	return nil, nil
}

func decoded(node *yaml.Node) (any, error) {
	var tree any
	err := node.Decode(&tree)
	return tree, err
}

func encode(w io.Writer, node *yaml.Node) error {
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return err
	}
	return encoder.Close()
}

func (c *Config) tree(origins bool) *yaml.Node {
	root := mapping()
	addRows(root, c, configKeys, c, "", origins)
	addRows(group(root, "defaults"), c, settingsKeys, &c.Defaults, defaultsPath, origins)
	apps := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for i := range c.Apps {
		apps.Content = append(apps.Content, c.appTree(i, false, origins))
	}
	if len(apps.Content) == 0 {
		apps.Style = yaml.FlowStyle
	}
	root.Content = append(root.Content, scalar("apps", "!!str"), apps)
	return root
}

// appTree returns one app: all of it, or only what it does not inherit from defaults.
func (c *Config) appTree(i int, all, origins bool) *yaml.Node {
	node, app, prefix := mapping(), &c.Apps[i], appsPath+strconv.Itoa(i)+"."
	for _, r := range appKeys {
		_, own := c.origins[prefix+r.path]
		// every key of an app is text
		if text := reflect.ValueOf(r.field(app)).Elem().String(); text != "" && (own || all) {
			addRows(node, c, []row[App]{r}, app, prefix, origins)
		}
	}
	for _, r := range settingsKeys {
		if _, own := c.origins[prefix+r.path]; own || all {
			addRows(node, c, []row[Settings]{r}, &app.Settings, prefix, origins)
		}
	}
	return node
}

// addRows adds the values of the rows to a tree, each to its group.
func addRows[T any](
	root *yaml.Node, c *Config, rows []row[T], from *T, prefix string, origins bool,
) {
	for _, r := range rows {
		parent, name := split(r.path)
		node := group(root, parent)
		value := scalarOf(r.field(from), r.rule)
		if origins {
			value.LineComment = c.Origin(display(prefix + r.path))
		}
		node.Content = append(node.Content, scalar(name, "!!str"), value)
	}
}

// scalarOf returns the value of a field, given by its pointer, as a YAML node. Credentials in URLs
// are hidden.
func scalarOf(field any, r rule) *yaml.Node {
	value := reflect.ValueOf(field).Elem().Interface()
	text, tag := format(value), "!!str"
	switch value.(type) {
	case int, int64:
		tag = "!!int"
	case float64:
		tag = "!!float"
		if !strings.Contains(text, ".") {
			tag = "!!int" // a whole number with the other tag would have it written out
		}
	case bool:
		tag = "!!bool"
	}
	if r.kind == "url" {
		text = RedactURL(text)
	}
	return scalar(text, tag)
}

// mapping returns an empty group.
func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

// group returns the group at a path, such as nats.tls, and makes those that are missing. The group
// at "" is the root.
func group(root *yaml.Node, path string) *yaml.Node {
	if path == "" {
		return root
	}
	parent, name := split(path)
	in := group(root, parent)
	for i := 0; i+1 < len(in.Content); i += 2 {
		if in.Content[i].Value == name {
			return in.Content[i+1]
		}
	}
	node := mapping()
	in.Content = append(in.Content, scalar(name, "!!str"), node)
	return node
}

func scalar(value, tag string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}
