// A backend for npm statsd, by its documented interface: writes what a flush holds, whole, as JSON.
'use strict';

const fs = require('fs');

exports.init = function (startup, config, events) {
  events.on('flush', function (timestamp, metrics) {
    fs.writeFileSync(config.record, JSON.stringify({
      timers: metrics.timers,
      timer_counters: metrics.timer_counters,
      counters: metrics.counters,
    }));
  });
  return true;
};
