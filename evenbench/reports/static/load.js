// The chart of a load scenario; needs figures.js. No table delays it.
evenbench.tablesReady();
stand("load");
