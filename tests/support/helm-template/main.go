// helm-template renders a chart with Helm's own engine, as `helm template` does, and prints it.
//
//	helm-template CHART RELEASE NAMESPACE [VALUES.yaml]
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: helm-template CHART RELEASE NAMESPACE [VALUES.yaml]")
		os.Exit(2)
	}
	text, err := render(os.Args[1], os.Args[2], os.Args[3], os.Args[4:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "helm-template:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}

func render(path, release, namespace string, files []string) (string, error) {
	chart, err := loader.Load(path)
	if err != nil {
		return "", err
	}
	values := chartutil.Values{}
	for _, file := range files {
		if values, err = chartutil.ReadValuesFile(file); err != nil {
			return "", err
		}
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	top, err := chartutil.ToRenderValues(chart, values, options, nil)
	if err != nil {
		return "", err
	}
	rendered, err := engine.Render(chart, top)
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(rendered))
	for name := range rendered {
		names = append(names, name)
	}
	sort.Strings(names)
	var out strings.Builder
	for _, name := range names {
		body := strings.TrimSpace(rendered[name])
		if strings.HasSuffix(name, ".yaml") && body != "" {
			fmt.Fprintf(&out, "---\n# Source: %s\n%s\n", name, strings.TrimPrefix(body, "---\n"))
		}
	}
	return out.String(), nil
}
