// The recordings, the alerts and the dashboard as a monitoring mixin. They are those of
// ../rules.yaml and ../../grafana/dashboard.json; `_config` changes what differs between installations.
{
  _config+:: {
    // Where the runbook is. The name of the alert in lower case is added.
    runbookURL: 'https://git.example/inference-health-sidecar/blob/main/deploy/runbook.md#',
    // Labels that every alert gets, such as a team.
    alertLabels: {},
    dashboardUID: 'inference-health',
    dashboardTags: ['inference', 'kubernetes'],
  },

  local config = self._config,
  local published = 'https://git.example/inference-health-sidecar/blob/main/deploy/runbook.md#',
  local groups = std.parseYaml(importstr '../rules.yaml').spec.groups,
  local isAlert(rule) = std.objectHas(rule, 'alert'),
  local only(keep) = std.filter(
    function(group) std.length(group.rules) > 0,
    [group { rules: std.filter(keep, group.rules) } for group in groups],
  ),

  prometheusRules+:: { groups: only(function(rule) !isAlert(rule)) },

  prometheusAlerts+:: {
    groups: [
      group {
        rules: [
          rule {
            labels+: config.alertLabels,
            annotations+: {
              runbook_url: std.strReplace(rule.annotations.runbook_url, published, config.runbookURL),
            },
          }
          for rule in group.rules
        ],
      }
      for group in only(isAlert)
    ],
  },

  grafanaDashboards+:: {
    'inference-health.json': (import '../../grafana/dashboard.json') {
      uid: config.dashboardUID,
      tags: config.dashboardTags,
    },
  },
}
